"""What will run, decided before anything runs: an `experiment.Plan` of `experiment.Experiment`.

`load.load_campaign` reads the files and settles the seed; `expand.expand` makes the plan of them:
`pools` hands out mutants, which `designs` spread and `sampling` draws, none that stands in the
`history`. `store` keeps a plan on disk, and `listing` shows it.
"""
