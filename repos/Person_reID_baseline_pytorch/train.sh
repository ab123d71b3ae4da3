#!/usr/bin/env bash
# Trains DenseNet-121 on Market-1501 with train.py of this folder.
source "$(dirname -- "${BASH_SOURCE[0]}")/../common/train.sh"
