"""Decoding: from the bytes of a photo to RGB pixels, uint8 (height, width, 3), within limits.

Safe to change: `decode` (the only decoder), `image_headers` (image sizes before any pixel is decoded).
Invariants: the limits, without a test with a file that exceeds them.
To add one: a line in `decode` and one in `io/file_kinds`, and a function in `image_headers` if Pillow alone is not safe.
"""
