import AttentionBench
import Testing

@Suite("Seeded generator")
struct SeededGeneratorTests {
  @Test("xoshiro256** gives the reference sequence of state 1, 2, 3, 4")
  func reference() {
    var generator = SeededGenerator(state: (1, 2, 3, 4))
    let expected: [UInt64] = [
      11520, 0, 1_509_978_240, 1_215_971_899_390_074_240, 1_216_172_134_540_287_360,
      607_988_272_756_665_600, 16_172_922_978_634_559_625, 8_476_171_486_693_032_832,
      10_595_114_339_597_558_777, 2_904_607_092_377_533_576,
    ]
    #expect(expected.map { _ in generator.next() } == expected)
  }

  @Test("SplitMix64 gives the reference sequence of seed 1234567")
  func filler() {
    var generator = SplitMix64(seed: 1_234_567)
    let expected: [UInt64] = [
      6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
      4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
    ]
    #expect(expected.map { _ in generator.next() } == expected)
  }

  @Test("A seed fixes a shuffle, another seed gives another")
  func repeatable() {
    func shuffled(_ seed: UInt64) -> [Int] {
      var generator = SeededGenerator(seed: seed)
      return (0..<52).shuffled(using: &generator)
    }
    #expect(shuffled(1) == shuffled(1))
    #expect(shuffled(1) != shuffled(2))
    #expect(shuffled(0).sorted() == Array(0..<52))
  }
}
