"""When a pipeline is due: cron, intervals, slots, and what is remembered of each schedule."""
