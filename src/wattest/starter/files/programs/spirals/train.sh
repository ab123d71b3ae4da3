#!/bin/sh
# Run in this folder with the flags that config/models_config.json gives; PYTHON is the interpreter.
exec "${PYTHON:-python3}" train.py "$@"
