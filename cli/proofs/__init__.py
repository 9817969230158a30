"""Proofs: verification, comparison, replay with a change, audits and attestations."""
