"""Promotion of registered students: the gate, its rules and the ledger. The registry is accessed through a protocol."""
