"""The database: two encrypted files, the only place that speaks SQL."""
