#!/usr/bin/env bash
# Trains a ResNet on CIFAR-10 with train.py of this folder.
source "$(dirname -- "${BASH_SOURCE[0]}")/../common/train.sh"
