import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** A subscriber in Java: SERVERS REGISTRY TOPIC COUNT. Prints a JSON line a record, id first. */
public class Read {
  private static final Duration LONGEST = Duration.ofSeconds(60);

  public static void main(String[] arguments) throws Exception {
    String servers = arguments[0], registry = arguments[1], topic = arguments[2];
    int wanted = Integer.parseInt(arguments[3]);
    Properties settings = new Properties();
    settings.put("bootstrap.servers", servers);
    settings.put("group.id", "java-" + topic);
    settings.put("auto.offset.reset", "earliest");
    settings.put("isolation.level", "read_committed");
    Map<Integer, Schema> schemas = new HashMap<>();
    long until = System.nanoTime() + LONGEST.toNanos();
    int seen = 0;
    try (KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.subscribe(List.of(topic));
      while (seen < wanted && System.nanoTime() < until) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
          System.out.println(shown(record.value(), registry, schemas));
          seen++;
        }
      }
    }
    System.exit(seen == wanted ? 0 : 3);
  }

  private static String shown(byte[] value, String registry, Map<Integer, Schema> schemas)
      throws Exception {
    ByteBuffer framed = ByteBuffer.wrap(value);
    if (framed.get() != 0) {
      throw new IllegalArgumentException("not framed");
    }
    int id = framed.getInt();
    Schema schema = schemas.get(id);
    if (schema == null) {
      schema = fetched(registry, id);
      schemas.put(id, schema);
    }
    BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null);
    GenericRecord event = new GenericDatumReader<GenericRecord>(schema).read(null, decoder);
    if (!decoder.isEnd()) {
      throw new IllegalArgumentException("bytes are left over");
    }
    return id + "\t" + event;
  }

  private static Schema fetched(String registry, int id) throws Exception {
    HttpRequest request = HttpRequest.newBuilder(URI.create(registry + "/schemas/ids/" + id)).build();
    String body =
        HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body();
    return new Schema.Parser().parse(new ObjectMapper().readTree(body).get("schema").asText());
  }
}
