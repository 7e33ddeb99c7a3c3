"""Data tables: names, codes, normal ranges, prices, report texts and care pathways. No behaviour."""
