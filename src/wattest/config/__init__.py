"""What a person wrote, as checked values: the registry of programs, and the settings of a campaign.

Files are read by `jsonfile`, judged by the JSON Schemas (`schema`, with guesses from `suggest`),
and become a `registry.Registry` of `program.Program` and `settings.Settings` of `settings.Entry`,
each with its `request.TrainingRequest` and its `design.Design`. All faults of a file are told at
once, one line each, before anything runs.
"""
