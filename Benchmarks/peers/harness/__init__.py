"""What is common to all comparisons: processes, rounds, checks, statistics, files."""
