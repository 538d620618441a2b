import com.fasterxml.jackson.databind.ObjectMapper;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericEnumSymbol;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryDecoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A subscriber in Java: SERVERS REGISTRY TOPIC COUNT [ID of the schema that it knows].
 *
 * <p>Prints a JSON object a record: its id, and the event with the kind of every value; doubles by
 * their bits. Ends after COUNT records, or with 3 after a minute.
 */
public class Read {
  private static final Duration LONGEST = Duration.ofSeconds(60);

  public static void main(String[] arguments) throws Exception {
    Registered registry = new Registered(arguments[1]);
    int wanted = Integer.parseInt(arguments[3]);
    Schema known =
        arguments.length > 4 ? registry.schema(Integer.parseInt(arguments[4])) : null;
    Properties settings = new Properties();
    settings.put("bootstrap.servers", arguments[0]);
    settings.put("group.id", "java-" + arguments[2] + "-" + ProcessHandle.current().pid());
    settings.put("auto.offset.reset", "earliest");
    settings.put("isolation.level", "read_committed");
    ObjectMapper json = new ObjectMapper();
    long until = System.nanoTime() + LONGEST.toNanos();
    int seen = 0;
    try (KafkaConsumer<byte[], byte[]> consumer =
        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
      consumer.subscribe(List.of(arguments[2]));
      while (seen < wanted && System.nanoTime() < until) {
        for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
          System.out.println(json.writeValueAsString(read(record.value(), registry, known)));
          seen++;
        }
      }
    }
    System.exit(seen == wanted ? 0 : 3);
  }

  private static Map<String, Object> read(byte[] value, Registered registry, Schema known)
      throws Exception {
    ByteBuffer framed = ByteBuffer.wrap(value);
    if (framed.get() != 0) {
      throw new IllegalArgumentException("not framed");
    }
    int id = framed.getInt();
    Schema writer = registry.schema(id);
    BinaryDecoder decoder = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, null);
    GenericRecord event =
        new GenericDatumReader<GenericRecord>(writer, known == null ? writer : known)
            .read(null, decoder);
    if (!decoder.isEnd()) {
      throw new IllegalArgumentException("bytes are left over");
    }
    Map<String, Object> shown = new LinkedHashMap<>();
    shown.put("id", id);
    shown.put("event", shown(event));
    return shown;
  }

  private static Object shown(Object value) {
    if (value == null) {
      return null;
    }
    if (value instanceof GenericRecord) {
      GenericRecord record = (GenericRecord) value;
      Map<String, Object> fields = new LinkedHashMap<>();
      for (Schema.Field field : record.getSchema().getFields()) {
        fields.put(field.name(), shown(record.get(field.pos())));
      }
      return Map.of("record", fields);
    }
    if (value instanceof List) {
      List<Object> items = new ArrayList<>();
      for (Object item : (List<?>) value) {
        items.add(shown(item));
      }
      return Map.of("array", items);
    }
    return Map.of(kind(value), simple(value));
  }

  private static Object simple(Object value) {
    return value instanceof Double
        ? String.format("%016x", Double.doubleToRawLongBits((Double) value))
        : value instanceof CharSequence || value instanceof GenericEnumSymbol
            ? value.toString()
            : value;
  }

  private static String kind(Object value) {
    if (value instanceof CharSequence) {
      return "string";
    }
    if (value instanceof GenericEnumSymbol) {
      return "enum";
    }
    if (value instanceof Integer) {
      return "int";
    }
    return value.getClass().getSimpleName().toLowerCase();
  }
}
