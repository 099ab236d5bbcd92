"""Answers over HTTP: a greeting as a page, the sum of numbers as JSON."""

from flask import Flask, Response, abort, render_template_string, request

app = Flask(__name__)
PAGE = "<!doctype html><title>Hello</title><p>hello, {{ name }}</p>\n"


@app.get("/hello/<name>")
def hello(name: str) -> str:
    """A page, with what is in the name escaped."""
    return render_template_string(PAGE, name=name)


@app.post("/sum")
def total() -> dict[str, float] | Response:
    """The sum of ``numbers``."""
    document = request.get_json()
    numbers = document.get("numbers") if isinstance(document, dict) else None
    if not isinstance(numbers, list) or not all(type(number) in (int, float) for number in numbers):
        abort(400, "numbers must be a list of numbers")
    return {"sum": sum(numbers)}
