import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.Executors;

/** Answers GET /hello/NAME with a greeting, and POST /sum, numbers between spaces, with their sum. */
public final class Server {
    private static final int PORT = 8000;

    public static void main(String[] arguments) throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(PORT), 0);
        server.createContext("/hello/", exchange -> {
            String name = exchange.getRequestURI().getPath().substring("/hello/".length());
            answer(exchange, 200, "hello, " + name);
        });
        server.createContext("/sum", exchange -> {
            String text = new String(exchange.getRequestBody().readNBytes(65_536), StandardCharsets.UTF_8);
            try {
                double sum = Arrays.stream(text.trim().split("\\s+")).mapToDouble(Double::parseDouble).sum();
                answer(exchange, 200, String.valueOf(sum));
            } catch (NumberFormatException error) {
                answer(exchange, 400, "expected numbers");
            }
        });
        server.setExecutor(Executors.newFixedThreadPool(4));
        server.start();
    }

    private static void answer(HttpExchange exchange, int status, String text) throws IOException {
        byte[] body = (text + "\n").getBytes(StandardCharsets.UTF_8);
        exchange.getResponseHeaders().set("Content-Type", "text/plain; charset=utf-8");
        exchange.sendResponseHeaders(status, body.length);
        exchange.getResponseBody().write(body);
        exchange.close();
    }
}
