"""Done records: which blocks of a task are finished.

`record` says what a record is, `writer` appends records, `columns` reads them as arrays, `latest` and
`results` find the latest record of every block, and `progress` is the folder that holds them.
"""
