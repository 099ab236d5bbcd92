<?php
// GET /hello/NAME greets; POST /sum with {"numbers": [1, 2]} adds.
$path = parse_url($_SERVER["REQUEST_URI"], PHP_URL_PATH);
if (str_starts_with($path, "/hello/")) {
    header("Content-Type: text/plain; charset=utf-8");
    echo "hello, ", rawurldecode(substr($path, 7)), "\n";
} elseif ($path === "/sum" && $_SERVER["REQUEST_METHOD"] === "POST") {
    header("Content-Type: application/json");
    $numbers = json_decode(file_get_contents("php://input"), true)["numbers"] ?? null;
    if (is_array($numbers) && $numbers === array_filter($numbers, fn($each) => is_int($each) || is_float($each))) {
        echo json_encode(["sum" => array_sum($numbers)]), "\n";
    } else {
        http_response_code(400);
        echo json_encode(["error" => "expected numbers"]), "\n";
    }
} else {
    http_response_code(404);
}
