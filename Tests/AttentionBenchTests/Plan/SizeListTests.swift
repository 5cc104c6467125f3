import AttentionBench
import Testing

@Suite("--n")
struct SizeListTests {
  private static let lists: [(String, [Int])] = [
    ("1k", [1000]),
    ("1", [1]),
    ("1_000", [1000]),
    ("4Ki", [4096]),
    ("2M", [2_000_000]),
    ("1Mi", [1_048_576]),
    ("1.5k", [1500]), ("1.5Ki", [1536]), ("0.5k", [500]), ("1.2345M", [1_234_500]),
    ("1.500k", [1500]), ("2.0", [2]), ("1_0.5k", [10_500]), ("0.001k", [1]),
    ("1.5k..6k", [1500, 3000, 6000]), ("1k..2k:linear=0.003k", [1000, 1500, 2000]),
    ("9223372036854775.807k", [Int.max]),
    ("1k..100k", [1000, 2000, 4000, 8000, 16000, 32000, 64000, 100_000]),
    ("1k..8k", [1000, 2000, 4000, 8000]),
    ("1Ki..4Ki", [1024, 2048, 4096]),
    ("5k..5k", [5000]),
    ("1..3", [1, 2, 3]),
    ("1k..4k:per-octave=2", [1000, 1414, 2000, 2828, 4000]),
    ("1..4:per-octave=8", [1, 2, 3, 4]),
    (
      "1k..100k:linear=10",
      [1000, 12000, 23000, 34000, 45000, 56000, 67000, 78000, 89000, 100_000]
    ),
    ("1..10:linear=4", [1, 4, 7, 10]),
    ("1..2:linear=10", [1, 2]),
    ("7,1k..4k, 3k ,1k..2k:linear=3", [7, 1000, 1500, 2000, 3000, 4000]),
  ]

  @Test("Grammar", arguments: lists)
  func grammar(text: String, expected: [Int]) throws {
    #expect(try SizeList(parsing: text).sizes == expected)
  }

  private static let example = "write a whole number such as 1000, 1_000, 1.5k (1500) or 1Ki (1024)"

  /// What is typed, and the message after `--n `.
  private static let mistakes: [(String, String)] = [
    ("5k..1k", "5k..1k: the range runs downwards; write 1k..5k"),
    (
      "5k..1k:linear=3",
      "5k..1k:linear=3: the range runs downwards; write 1k..5k:linear=3"
    ),
    ("1k,5k..1k", "5k..1k: the range runs downwards; write 1k..5k"),
    ("0", "0: a size is at least 1; " + example),
    ("-5", "-5: a size is at least 1; " + example),
    ("", "'': the size is empty; " + example),
    ("1k,,2k", "'': the size is empty; " + example),
    (
      "abc",
      "abc: this is no whole number; " + example
    ),
    (
      "1.2345k",
      "1.2345k: this is not whole; " + example
    ),
    (
      "_1",
      "_1: this is no whole number; " + example
    ),
    (
      "١٢", "١٢: this is no whole number; " + example
    ),
    ("1K", "1K: unknown suffix 'K'; use k (1000), M (1000000), Ki (1024) or Mi (1048576)"),
    (
      "99999999999999999999",
      "99999999999999999999: this is too large; the limit is \(Int.max)"
    ),
    (
      "9223372036854775807k",
      "9223372036854775807k: this is too large; the limit is \(Int.max)"
    ),
    ("1k..", "1k..: a range has two ends; write 1k..100k"),
    ("..", "..: a range has two ends; write 1k..100k"),
    ("1k:linear=3", "1k:linear=3: a step needs a range; write 1k..1k:linear=3"),
    ("1k..2k:cubic=3", "1k..2k:cubic=3: unknown step ':cubic=3'; use :linear=10 or :per-octave=2"),
    ("1k..2k:", "1k..2k:: unknown step ':'; use :linear=10 or :per-octave=2"),
    (
      "1k..2k:linear=1",
      "1k..2k:linear=1: 'linear=1' is out of range; linear takes a whole number from 2 to 10000"
    ),
    (
      "1k..2k:per-octave=0",
      "1k..2k:per-octave=0: 'per-octave=0' is out of range; "
        + "per-octave takes a whole number from 1 to 100"
    ),
    (
      "1k..2k:linear=99999999999999999999",
      "1k..2k:linear=99999999999999999999: 'linear=99999999999999999999' is out of range; "
        + "linear takes a whole number from 2 to 10000"
    ),
    (
      "1k..2k:linear=3:per-octave=2",
      "1k..2k:linear=3:per-octave=2: a range has one step; write 1k..2k:linear=3"
    ),
  ]

  @Test("Every unusable list says which part, why and what to write", arguments: mistakes)
  func errors(text: String, message: String) {
    let error = #expect(throws: PlanError.self) { try SizeList(parsing: text) }
    #expect(error?.description == "--n " + message)
  }

  @Test("A list of lists that grows out of hand is refused")
  func tooMany() {
    #expect(throws: PlanError.self) {
      try SizeList(parsing: "1..1M:linear=10_000,2M..9M:linear=10_000")
    }
  }

  @Test("The widest range there is neither traps nor loses its ends")
  func widest() throws {
    let doubling = try SizeList(parsing: "1..\(Int.max)").sizes
    #expect(doubling.count == 64)
    #expect(doubling.last == Int.max)
    let fine = try SizeList(parsing: "3..\(Int.max):per-octave=100").sizes
    #expect(fine.first == 3 && fine.last == Int.max)
    let linear = try SizeList(parsing: "1..\(Int.max):linear=10_000").sizes
    #expect(linear.first == 1 && linear.last == Int.max && linear.count == 10_000)
  }

  @Test("A resolved list prints as a list that parses to itself", arguments: ["1k..100k", "3,1Ki"])
  func printing(text: String) throws {
    let list = try SizeList(parsing: text)
    #expect(try SizeList(parsing: list.description) == list)
  }

  @Test(
    "Short texts are exact",
    arguments: [
      (1, "1"), (999, "999"), (1000, "1k"), (100_000, "100k"), (2_000_000, "2M"), (1024, "1Ki"),
      (4096, "4Ki"), (1_048_576, "1Mi"), (1001, "1001"), (128_000, "128k"),
    ])
  func short(size: Int, text: String) throws {
    #expect(SizeText.short(size) == text)
    #expect(try SizeText.parse(text, argument: "--n") == size)
  }
}
