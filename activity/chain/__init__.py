"""What makes the log provable, as plain values and functions: links, keys, signed statements, and the walk that checks them.

Nothing here needs Django, a database or a secret, so that an auditor can run it on a proof file:
`python -m activity.chain FILE --public-key KEY`.
"""
