"""Decoding: from the bytes of a photo to RGB pixels, uint8 (height, width, 3), within limits.

Safe to change: `decode` (the only decoder), `rgb` (the one rule from any mode to RGB), `limits` (sizes), the formats' own
checks (`jpeg`, `png`, `tiff`, `bmp`, `image_headers`), which all run before any pixel is decoded.
Invariants: the limits, without a test with a file that exceeds them; a photo is whole or refused; errors in our own words.
To add one: a line each in `decode`, `more_formats` (the formats that are read) and `io/file_kinds`, and a sanitiser if Pillow
alone is not safe.
"""
