"""Makes the options, the fixtures and the experiments known to pytest."""

pytest_plugins = [
    "wattest.plugin",
    "fixtures.load",
    "fixtures.training",
    "fixtures.recording",
]
