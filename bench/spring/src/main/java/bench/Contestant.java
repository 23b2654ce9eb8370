package bench;

import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.springframework.context.annotation.AnnotationConfigApplicationContext;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Configuration;
import org.springframework.kafka.annotation.EnableKafka;
import org.springframework.kafka.annotation.KafkaListener;
import org.springframework.kafka.config.ConcurrentKafkaListenerContainerFactory;
import org.springframework.kafka.core.DefaultKafkaConsumerFactory;
import org.springframework.kafka.support.serializer.JsonDeserializer;

/** Spring Kafka's annotated listener with its JsonDeserializer; the argument is the container's concurrency. */
@Configuration
@EnableKafka
public class Contestant {
    public record Item(String sku, int quantity, long cents) {}

    public record Order(long id, String customer, String currency, long total_cents, String created_at, String note, List<Item> items) {}

    static final long RECORDS = Long.parseLong(System.getenv("BENCH_RECORDS"));
    static final AtomicLong COUNT = new AtomicLong();
    static final AtomicLong SUM = new AtomicLong();
    static int concurrency;

    public static void main(String[] arguments) throws Exception {
        concurrency = Integer.parseInt(arguments[0]);
        new AnnotationConfigApplicationContext(Contestant.class);
        System.in.readAllBytes();
        Runtime.getRuntime().halt(0);
    }

    @Bean
    public ConcurrentKafkaListenerContainerFactory<String, Order> kafkaListenerContainerFactory() {
        Map<String, Object> settings = Map.of("bootstrap.servers", System.getenv("BENCH_SERVERS"), "auto.offset.reset", "earliest");
        var json = new JsonDeserializer<>(Order.class, false);
        var factory = new ConcurrentKafkaListenerContainerFactory<String, Order>();
        factory.setConsumerFactory(new DefaultKafkaConsumerFactory<>(settings, new StringDeserializer(), json));
        factory.setConcurrency(concurrency);
        return factory;
    }

    @KafkaListener(topics = "#{systemEnvironment['BENCH_TOPIC']}", groupId = "#{systemEnvironment['BENCH_GROUP']}")
    public void handle(Order order) {
        SUM.addAndGet(order.total_cents());
        long count = COUNT.incrementAndGet();
        if (count == 1) System.out.println("first");
        if (count == RECORDS) System.out.println("done " + count + " " + SUM.get());
    }
}
