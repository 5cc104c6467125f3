import AttentionBench
import Testing

@Suite("Units")
struct UnitTests {
  @Test(
    "Bytes parse, and print back the shortest way",
    arguments: [
      ("4GiB", 4_294_967_296, "4GiB"), ("500MB", 500_000_000, "500MB"), ("64B", 64, "64B"),
      ("1.5GiB", 1_610_612_736, "1536MiB"), ("1_024KiB", 1_048_576, "1MiB"), ("3KB", 3000, "3kB"),
      ("2TB", 2_000_000_000_000, "2TB"), ("1.3B", 1, "1B"),
      ("9007199254740993B", 9_007_199_254_740_993, "9007199254740993B"),
      ("1.00000000000000000000000001kB", 1000, "1kB"),
    ])
  func bytes(text: String, count: Int, printed: String) throws {
    let value = try ByteCount(parsing: text, argument: "--max-memory")
    #expect(value.bytes == count)
    #expect(value.description == printed)
    #expect(try ByteCount(parsing: printed, argument: "--max-memory") == value)
  }

  @Test(
    "Unusable amounts",
    arguments: [
      "", "GiB", "4", "4G", "-4GiB", "0B", "0.2B", "nanGiB", "1e3MB", "4 GiB", "9999999999TiB",
      "1..2GiB", "4GiBs", "1.GiB", "_1B", "1__0B",
    ])
  func badBytes(text: String) {
    let error = #expect(throws: PlanError.self) {
      try ByteCount(parsing: text, argument: "--max-memory")
    }
    #expect(error?.argument == "--max-memory")
    #expect(error?.value == text)
    #expect(error?.fix.isEmpty == false)
  }

  @Test(
    "Bytes for people",
    arguments: [
      (0, "0 B"), (512, "512 B"), (1024, "1.00 KiB"), (4_000_000_000, "3.73 GiB"),
      (68_719_476_736, "64.0 GiB"), (1_073_741_823, "1024 MiB"),
    ])
  func roundedBytes(count: Int, text: String) {
    #expect(ByteCount(count).rounded == text)
  }

  @Test("A memory limit is an amount or a share of what is available")
  func memoryLimit() throws {
    let available = ByteCount(10_000)
    let share = try MemoryLimit(parsing: "80%")
    #expect(share.resolved(available: available) == ByteCount(8000))
    #expect(share.description == "80%")
    let amount = try MemoryLimit(parsing: "4GiB")
    #expect(amount.resolved(available: available) == ByteCount(4 << 30))
    #expect(amount.description == "4GiB")
    #expect(
      try MemoryLimit(parsing: "100%").resolved(available: ByteCount(.max)) == ByteCount(.max))
    #expect(throws: PlanError.self) { try MemoryLimit(parsing: "101%") }
    #expect(throws: PlanError.self) { try MemoryLimit(parsing: "lots") }
  }

  @Test(
    "Times parse, and print back the shortest way",
    arguments: [
      ("60s", 60.0, "1m"), ("10m", 600, "10m"), ("250ms", 0.25, "250ms"), ("1h", 3600, "1h"),
      ("1.5h", 5400, "90m"), ("0.1s", 0.1, "100ms"), ("5us", 5e-6, "5us"), ("7ns", 7e-9, "7ns"),
      ("90s", 90, "90s"),
    ])
  func spans(text: String, seconds: Double, printed: String) throws {
    let span = try TimeSpan(parsing: text, argument: "--budget")
    #expect(span.seconds == seconds)
    #expect(span.description == printed)
    #expect(try TimeSpan(parsing: printed, argument: "--budget") == span)
  }

  @Test(
    "Unusable times",
    arguments: ["", "s", "60", "60sec", "-1s", "0s", "0.1ns", "infs", "1e3s", "99999999h", "1 s"])
  func badSpans(text: String) {
    let error = #expect(throws: PlanError.self) { try TimeSpan(parsing: text, argument: "--t") }
    #expect(error?.argument == "--t")
  }

  @Test("The message of a time without a unit shows the time with one")
  func missingUnit() {
    let error = #expect(throws: PlanError.self) { try TimeSpan(parsing: "60", argument: "--t") }
    #expect(
      error?.description
        == "--t 60: the unit is missing; use ns, us, ms, s, m (minutes) or h, such as 60s")
  }

  @Test(
    "Times for people",
    arguments: [
      (412.0, "412 s"), (21.04, "21.0 s"), (1.0, "1.00 s"), (0.00261, "2.61 ms"),
      (0.000_126, "126 us"), (4.2e-8, "42.0 ns"), (0, "0.00 ns"),
    ])
  func roundedTimes(seconds: Double, text: String) {
    #expect(TimeSpan.rounded(seconds: seconds) == text)
  }

  @Test(
    "Percentages",
    arguments: [("2%", 0.02, "2%"), ("0.5%", 0.005, "0.5%"), ("100%", 1, "100%")])
  func percent(text: String, fraction: Double, printed: String) throws {
    let percent = try Percent(parsing: text, argument: "--rel-ci")
    #expect(percent.fraction == fraction)
    #expect(percent.description == printed)
  }

  @Test(
    "Unusable percentages",
    arguments: ["", "%", "2", "0%", "-2%", "101%", "nan%", "2%%", "2 %"])
  func badPercent(text: String) {
    #expect(throws: PlanError.self) { try Percent(parsing: text, argument: "--rel-ci") }
  }
}
