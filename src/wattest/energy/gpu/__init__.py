"""The energy of NVIDIA GPUs, by NVML."""
