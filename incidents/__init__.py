"""Incident reports: what happened in a range of a journal, with figures and pictures, in a form to be sent."""
