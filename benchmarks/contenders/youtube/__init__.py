"""The contenders of the YouTube benchmark, one module each, imported only in the process that measures it.

All make one signed call a report, survive 503, cut connections and tokens that die, and leave each report in MongoDB
as a document of its own.
"""
