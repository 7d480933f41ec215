"""structlog as JSON and as key-value pairs."""

import structlog

structlog.configure(
    processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer(sort_keys=True)],
    logger_factory=structlog.PrintLoggerFactory(),
)
log = structlog.get_logger().bind(run="r1")
log.info("rows read", count=3, file="grün.csv")
log.unbind("run").error("failed", reason=None)
structlog.configure(processors=[structlog.processors.KeyValueRenderer(key_order=["event"])])
structlog.get_logger().warning("pairs", a=1)
