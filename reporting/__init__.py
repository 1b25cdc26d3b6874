"""The self-contained HTML report: `page.write`."""
