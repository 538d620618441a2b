import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.concurrent.Future;
import org.apache.avro.Schema;
import org.apache.avro.generic.GenericDatumReader;
import org.apache.avro.generic.GenericDatumWriter;
import org.apache.avro.generic.GenericRecord;
import org.apache.avro.io.BinaryEncoder;
import org.apache.avro.io.DecoderFactory;
import org.apache.avro.io.EncoderFactory;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * A producer in Java: SERVERS REGISTRY TOPIC ID plain|blocks. Reads events in Avro's JSON, a line
 * each; "blocks" writes arrays in blocks that tell their size, as long ones are streamed.
 */
public class Write {
  public static void main(String[] arguments) throws Exception {
    int id = Integer.parseInt(arguments[3]);
    boolean blocks = arguments[4].equals("blocks");
    Schema schema = new Registered(arguments[1]).schema(id);
    List<Future<?>> sent = new ArrayList<>();
    Properties settings = new Properties();
    settings.put("bootstrap.servers", arguments[0]);
    BufferedReader lines =
        new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    try (KafkaProducer<byte[], byte[]> producer =
        new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer())) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        GenericRecord event =
            new GenericDatumReader<GenericRecord>(schema)
                .read(null, DecoderFactory.get().jsonDecoder(schema, line));
        ByteArrayOutputStream value = new ByteArrayOutputStream();
        value.write(ByteBuffer.allocate(5).put((byte) 0).putInt(id).array());
        EncoderFactory factory = EncoderFactory.get();
        BinaryEncoder encoder =
            blocks ? factory.blockingBinaryEncoder(value, null) : factory.binaryEncoder(value, null);
        new GenericDatumWriter<GenericRecord>(schema).write(event, encoder);
        encoder.flush();
        byte[] key = event.get("flight_id").toString().getBytes(StandardCharsets.UTF_8);
        sent.add(producer.send(new ProducerRecord<>(arguments[2], key, value.toByteArray())));
      }
      producer.flush();
      for (Future<?> acknowledged : sent) {
        acknowledged.get();
      }
    }
  }
}
