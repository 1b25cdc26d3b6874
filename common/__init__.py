"""Errors, shapes, atomic files, locks, early interrupts: what everything else stands on."""
