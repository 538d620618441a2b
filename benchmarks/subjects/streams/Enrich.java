// The same job on Kafka Streams: Avro generic records, LightGBM's single-row fast path over JNI.
// java Enrich SERVERS INPUT OUTPUT GROUP at_least_once|exactly_once_v2 ROOT
import com.microsoft.ml.lightgbm.*;
import io.github.metarank.lightgbm4j.LGBMBooster;
import java.io.ByteArrayOutputStream;
import java.nio.file.*;
import java.time.*;
import java.util.*;
import org.apache.avro.Schema;
import org.apache.avro.generic.*;
import org.apache.avro.io.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.api.*;

public class Enrich {
  static final List<String> CARRIERS = List.of(
      "9E AA AS B6 DL EV F9 FL HA MQ OO UA US VX WN YV".split(" "));
  static final List<String> ORIGINS = List.of("EWR", "JFK", "LGA");

  static class Scorer extends ContextualFixedKeyProcessor<byte[], byte[], byte[]> {
    final GenericDatumReader<GenericRecord> reader;
    final GenericDatumWriter<GenericRecord> writer;
    final Schema block;
    final SWIGTYPE_p_void fast;
    final SWIGTYPE_p_long_long length = lightgbmlib.new_int64_tp();
    final SWIGTYPE_p_double result = lightgbmlib.new_doubleArray(1);
    final double[] row = new double[13];
    GenericRecord event;
    BinaryDecoder decoder;
    BinaryEncoder encoder;

    Scorer(Schema schema, Schema block, String model) {
      this.block = block;
      reader = new GenericDatumReader<>(schema);
      writer = new GenericDatumWriter<>(block);
      SWIGTYPE_p_p_void booster = lightgbmlib.voidpp_handle();
      lightgbmlib.LGBM_BoosterLoadModelFromString(model, lightgbmlib.new_intp(), booster);
      SWIGTYPE_p_p_void config = lightgbmlib.voidpp_handle();
      int code = lightgbmlib.LGBM_BoosterPredictForMatSingleRowFastInit(
          lightgbmlib.voidpp_value(booster), lightgbmlibConstants.C_API_PREDICT_NORMAL, 0, 0,
          lightgbmlibConstants.C_API_DTYPE_FLOAT64, 13, "num_threads=1", config);
      if (code != 0) throw new IllegalStateException(lightgbmlib.LGBM_GetLastError());
      fast = lightgbmlib.voidpp_value(config);
    }

    static double number(Object value) {
      return value == null ? Double.NaN : ((Number) value).doubleValue();
    }

    static double place(List<String> names, Object value) {
      int found = names.indexOf(value.toString());
      return found < 0 ? Double.NaN : found;
    }

    @Override
    public void process(FixedKeyRecord<byte[], byte[]> record) {
      try {
        byte[] value = record.value();
        decoder = DecoderFactory.get().binaryDecoder(value, 5, value.length - 5, decoder);
        event = reader.read(event, decoder);
        long departure = (Long) event.get("scheduled_departure");
        ZonedDateTime at = Instant.ofEpochMilli(departure).atZone(ZoneOffset.UTC);
        row[0] = number(event.get("departure_delay"));
        row[1] = number(event.get("distance"));
        row[2] = at.getHour();
        row[3] = at.getDayOfWeek().getValue();
        row[4] = place(CARRIERS, event.get("carrier"));
        row[5] = place(ORIGINS, event.get("origin"));
        row[6] = number(event.get("temperature"));
        row[7] = number(event.get("humidity"));
        row[8] = number(event.get("wind_speed"));
        row[9] = number(event.get("precipitation"));
        row[10] = number(event.get("pressure"));
        row[11] = number(event.get("visibility"));
        row[12] = event.get("seats") == null ? 0 : number(event.get("seats"));
        lightgbmlib.LGBM_BoosterPredictForMatSingleRowFastCriticalSWIG(row, fast, length, result);
        double score = lightgbmlib.doubleArray_getitem(result, 0);
        RecordMetadata from = context().recordMetadata().get();
        GenericRecord out = new GenericData.Record(block);
        out.put("decision_id", "w:" + from.topic() + ":" + from.partition() + ":" + from.offset());
        out.put("model", "flight-delay");
        out.put("model_version", "1");
        out.put("score", score);
        out.put("decision", score >= 0.6 ? "late" : score >= 0.3 ? "review" : "on_time");
        out.put("fallback", false);
        out.put("fallback_reason", null);
        out.put("reasons", List.of());
        out.put("scored_at", System.currentTimeMillis());
        ByteArrayOutputStream bytes = new ByteArrayOutputStream(value.length + 96);
        bytes.write(new byte[] {0, 0, 0, 0, 0x65});
        bytes.write(value, 5, value.length - 5);
        encoder = EncoderFactory.get().binaryEncoder(bytes, encoder);
        writer.write(out, encoder);
        encoder.flush();
        context().forward(record.withValue(bytes.toByteArray()));
      } catch (java.io.IOException error) {
        throw new java.io.UncheckedIOException(error);
      }
    }
  }

  public static void main(String[] args) throws Exception {
    LGBMBooster.loadNative();
    Path root = Path.of(args[5]);
    Schema schema = new Schema.Parser().parse(
        Files.readString(root.resolve("schemas/flights-value/v1.avsc")));
    Schema block = new Schema.Parser().parse(
        Files.readString(root.resolve("workers/contracts/enrichment-v1.avsc")));
    String model = Files.readString(root.resolve("models/flight-delay/1/model.txt"));
    Properties settings = new Properties();
    settings.put(StreamsConfig.APPLICATION_ID_CONFIG, args[3]);
    settings.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0]);
    settings.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, args[4]);
    settings.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 1);
    settings.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
    settings.put(StreamsConfig.STATE_DIR_CONFIG, Files.createTempDirectory("streams").toString());
    StreamsBuilder builder = new StreamsBuilder();
    builder.stream(args[1], Consumed.with(Serdes.ByteArray(), Serdes.ByteArray()))
        .processValues(() -> new Scorer(schema, block, model))
        .to(args[2], Produced.with(Serdes.ByteArray(), Serdes.ByteArray()));
    KafkaStreams streams = new KafkaStreams(builder.build(), settings);
    Runtime.getRuntime().addShutdownHook(new Thread(streams::close));
    streams.start();
  }
}
