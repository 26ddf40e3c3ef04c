# The application of the text that lsbaws grew from.
from flask import Flask, Response, request

app = Flask("flaskapp")


@app.route("/hello")
def hello():
    return Response("Hello world from Flask!\n", mimetype="text/plain")


@app.route("/form", methods=["POST"])
def form():
    return {"name": request.form["name"], "file": len(request.files["file"].read())}


@app.route("/fail")
def fail():
    raise ValueError("a view has failed")
