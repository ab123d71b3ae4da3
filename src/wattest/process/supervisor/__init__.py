"""The program that runs every training: a guard, and below it a supervisor.

It is started by path with `python -I -S`, so it sees the standard library and nothing else, and
it imports little of that: every millisecond here is paid at each start of a training. Hence
`os` instead of `pathlib`, plain classes instead of dataclasses, and `marshal` instead of `json`.

    pytest ── control socket ──────────────┐
       ▲ pidfd                             │
       ├──────────── guard ◄── pidfds ──► supervisor ──► training ──► whatever it starts
       └─ pidfd ─────────────────────────────┘

Guard and supervisor are both child subreapers. Each watches the other and every owner; whichever
notices that one of them is gone kills the whole tree.

From the top: `guard` starts and outlives the supervisor; `jobs` says what it runs, once or again
and again, or `keeper` what to put back; `supervise` is its loop; `spawn` is fork and exec;
`descendants` finds, signals and ends, `containment` is what the kernel adds to that; `logs` caps
what a load writes; `endings` says how a run ended; `wire` talks to the owner; `kernel` is Linux.
"""
