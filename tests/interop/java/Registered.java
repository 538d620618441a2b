import com.fasterxml.jackson.databind.ObjectMapper;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.HashMap;
import java.util.Map;
import org.apache.avro.Schema;

/** Schemas by id, each asked for once. */
final class Registered {
  private final HttpClient http = HttpClient.newHttpClient();
  private final Map<Integer, Schema> known = new HashMap<>();
  private final String url;

  Registered(String url) {
    this.url = url;
  }

  Schema schema(int id) throws Exception {
    Schema found = known.get(id);
    if (found == null) {
      HttpRequest request = HttpRequest.newBuilder(URI.create(url + "/schemas/ids/" + id)).build();
      HttpResponse<String> answer = http.send(request, HttpResponse.BodyHandlers.ofString());
      if (answer.statusCode() != 200) {
        throw new IllegalStateException("id " + id + ": the registry answers " + answer.statusCode());
      }
      String text = new ObjectMapper().readTree(answer.body()).get("schema").asText();
      found = new Schema.Parser().parse(text);
      known.put(id, found);
    }
    return found;
  }
}
