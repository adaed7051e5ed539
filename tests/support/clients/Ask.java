import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.net.HttpURLConnection;
import java.net.URI;
import java.net.URL;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Base64;

/** Asks `POST /predict` through Java's own clients, by their defaults and otherwise; prints a line for each answer. */
public class Ask {
    static byte[] form(byte[] data, String boundary) throws Exception {
        var out = new ByteArrayOutputStream();
        out.write(("--" + boundary + "\r\nContent-Disposition: form-data; name=\"images\"; filename=\"a.png\"\r\n"
            + "Content-Type: image/png\r\nContent-Transfer-Encoding: binary\r\n\r\n").getBytes());
        out.write(data);
        out.write(("\r\n--" + boundary + "--\r\n").getBytes());
        return out.toByteArray();
    }

    static void ask(HttpClient client, String name, URI uri, String type, HttpRequest.BodyPublisher body, boolean expect)
            throws Exception {
        var request = HttpRequest.newBuilder(uri).header("Content-Type", type).timeout(Duration.ofSeconds(60))
            .expectContinue(expect).POST(body).build();
        say(name, client.send(request, HttpResponse.BodyHandlers.ofString()));
    }

    static void say(String name, HttpResponse<String> response) {
        System.out.println(name + "\t" + response.statusCode() + "\t" + response.body());
    }

    public static void main(String[] arguments) throws Exception {
        var uri = URI.create(arguments[0] + "/predict?samples=4");
        byte[] data = Files.readAllBytes(Path.of(arguments[1]));
        for (var version : HttpClient.Version.values()) {
            var client = HttpClient.newBuilder().version(version).build();
            for (int round = 0; round < 2; round++) { // the second on the connection of the first
                var name = version + " " + round + " ";
                ask(client, name + "raw", uri, "image/png", HttpRequest.BodyPublishers.ofByteArray(data), false);
                ask(client, name + "expecting", uri, "image/png", HttpRequest.BodyPublishers.ofByteArray(data), true);
                ask(client, name + "chunked", uri, "image/png",
                    HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(data)), false);
                ask(client, name + "form", uri, "multipart/form-data; boundary=----Java",
                    HttpRequest.BodyPublishers.ofByteArray(form(data, "----Java")), false);
                for (var encoder : new Base64.Encoder[] {Base64.getEncoder(), Base64.getUrlEncoder().withoutPadding()}) {
                    var text = "{\"images\": [\"" + encoder.encodeToString(data) + "\"]}";
                    ask(client, name + "JSON", uri, "application/json", HttpRequest.BodyPublishers.ofString(text), false);
                }
            }
        }
        var connection = (HttpURLConnection) new URL(uri.toString()).openConnection();
        connection.setRequestMethod("POST");
        connection.setDoOutput(true);
        connection.setRequestProperty("Content-Type", "image/png");
        connection.getOutputStream().write(data);
        var body = new String(connection.getInputStream().readAllBytes());
        System.out.println("URL\t" + connection.getResponseCode() + "\t" + body);
    }
}
