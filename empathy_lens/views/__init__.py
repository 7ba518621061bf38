"""All that is looked at: figures, per-token views, the report. Nothing is computed here."""
