"""A Mixer as a page that answers in the browser, from static files alone: written (`page`), with a runtime (`onnxruntime_web`).

Safe to change: index.html, app.js (the model in the browser), pixels.js (decoding), answers.js (arithmetic).
Invariants: answers are those of `allmlp predict` but for rounding and the browser's decoder; nothing inline, no address of
    another host; names are set as text. The model is an ONNX export like any other.
To add one: a file of the page is a name in `page.OWN_FILES`; what the server's page has, too, belongs into allmlp/photo_page.
"""
