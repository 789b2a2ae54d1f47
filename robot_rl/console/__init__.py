"""The operator's page: what the topics and the stores say, in a browser, and a person's hands and words back.

It is a process of its own beside a job. Nothing waits for it: it may be killed, or its browser may stop.

May import: contract, data, ros.
"""
