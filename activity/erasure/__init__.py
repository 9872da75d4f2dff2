"""Erasing a person from the activity log: their key is destroyed, their words leave the index, and a ledger in control says so for ever."""
