"use strict";

const express = require("express");

const app = express();
app.use(express.json());

app.get("/hello/:name", (request, response) => response.send(`hello, ${request.params.name}\n`));

app.post("/sum", (request, response) => {
  const numbers = request.body?.numbers;
  if (!Array.isArray(numbers) || !numbers.every(Number.isFinite)) {
    return response.status(400).json({ error: "numbers must be a list of numbers" });
  }
  return response.json({ sum: numbers.reduce((sum, number) => sum + number, 0) });
});

const server = app.listen(8000, "0.0.0.0");
process.on("SIGTERM", () => server.close(() => process.exit(0)));
