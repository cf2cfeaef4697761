#!/usr/bin/env python3
"""Writes security_logger.log as a Python MCP server with a SecurityLogger would.

It is Python's own logging that formats each line; only the clock is fixed, so
that the file is the same on every run:  python3 security_logger.py > security_logger.log
"""
import datetime
import hashlib
import json
import logging
import sys
import time

START = datetime.datetime(2026, 11, 22, 14, 30, 12, 123000, tzinfo=datetime.timezone.utc)


class FixedClock(logging.Filter):
    """Each record is one second after the one before."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def now(self):
        return START + datetime.timedelta(seconds=self.count)

    def filter(self, record):
        record.created = self.now().timestamp()
        record.msecs = 123
        self.count += 1
        return True


class SecurityLogger:
    def __init__(self, name="mcp_security"):
        self.clock = FixedClock()
        self.logger = logging.getLogger(name)
        self.logger.setLevel(logging.INFO)
        handler = logging.StreamHandler(sys.stdout)
        formatter = logging.Formatter("%(asctime)s - %(name)s - %(levelname)s - %(message)s")
        formatter.converter = time.gmtime
        handler.setFormatter(formatter)
        self.logger.addHandler(handler)
        self.logger.addFilter(self.clock)

    @staticmethod
    def short_hash(value):
        return hashlib.sha256(value.encode()).hexdigest()[:12]

    def write(self, level, event_type, text="", **fields):
        event = {"timestamp": self.clock.now().replace(tzinfo=None).isoformat(), "event_type": event_type, **fields}
        self.logger.log(level, text + json.dumps(event))

    def authentication(self, client, success, source_ip, **more):
        self.write(logging.INFO if success else logging.WARNING, "authentication",
                   client_id=self.short_hash(client), success=success, source_ip=source_ip, **more)

    def permission_violation(self, client, resource, action, **more):
        self.write(logging.WARNING, "permission_violation",
                   client_id=self.short_hash(client), resource=resource, action=action, **more)

    def suspicious(self, client, activity_type, details):
        self.write(logging.CRITICAL, "suspicious_activity",
                   client_id=self.short_hash(client), activity_type=activity_type, details=details)

    def rate_limit(self, client, limit, window, count):
        self.write(logging.WARNING, "rate_limit_exceeded",
                   client_id=self.short_hash(client), limit=limit, window_seconds=window, current_count=count)


log = SecurityLogger()
log.authentication("client-ann", True, "203.0.113.9", user_agent="python-httpx/0.27.0")
log.authentication("client-ann", False, "203.0.113.9", user_agent=None, reason="Bad Signature")
log.permission_violation("client-ann", "/srv/admin/users.csv", "read", user_id="ann@example.com")
log.suspicious("client-bob", "sql_injection", {"tool": "crm.find", "input": "1' OR '1'='1"})
log.rate_limit("client-bob", 60, 60, 75)
log.write(logging.ERROR, "permission_violation", "Permission violation: ", user_id=42, resource="admin_panel", action="write")
log.write(logging.INFO, "authentication", username="Zo\u00eb", success=True, ip_address="2001:db8::1")
