#!/usr/bin/env bash
# Trains a small network on MNIST with train.py of this folder.
source "$(dirname -- "${BASH_SOURCE[0]}")/../common/train.sh"
