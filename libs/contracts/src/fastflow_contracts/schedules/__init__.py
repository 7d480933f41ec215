"""When a pipeline is due: cron, intervals, slots, and the stored state of each schedule."""
