"""Columns of Parquet files, read value by value, so that one photo costs neither a row group nor a claim of the file.

pyarrow reads the footer and decompresses; pages and encodings are read here, because pyarrow unpacks whole row groups.
Safe to change: `contents` (how a part of a compressed page is read, and what is cached); `page_store` (where).
Invariants: nothing is allocated at a size that the file claims before it was compared with a limit.
To add one: an encoding in `values`; a compression in `pages.CODECS`, which pyarrow has to know.
"""
