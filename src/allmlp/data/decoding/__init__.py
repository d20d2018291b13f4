"""From the bytes of a photo to pixels, (height, width, 3) uint8 RGB, within limits.

Touch: `decode` (the one decoder), `image_headers` (sizes before any pixel is decoded).
Do not touch: the limits, without a test of a file that would exceed them.
A new one: a format is a line in `decode` and one in `io/file_kinds`; a header to measure, a function in `image_headers`.
"""
