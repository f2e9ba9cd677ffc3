"""A page on which a person asks a served model: draws a digit, drops a picture, types a sentence, fills a row.

``server`` serves the page and forwards what it asks through the client; ``forms`` says what to fill in for a signature,
``views`` how an answer is shown. ``page/`` is the page itself: HTML, a style sheet and modules, as they are.
"""
