"""The CPU's energy: packages and DRAM, by powercap or by perf events."""
