"""A Flask application and its test client."""

import flask

app = flask.Flask(__name__)


@app.get("/items/<int:number>")
def item(number):
    if number > 9:
        flask.abort(404)
    return {"number": number, "twice": 2 * number}


@app.errorhandler(404)
def missing(error):
    return {"error": error.name}, 404


with app.test_client() as client:
    print(client.get("/items/4").json, client.get("/items/10").status_code, client.get("/items/10").json)
print(flask.Flask("x").root_path.endswith("flask_application"))
