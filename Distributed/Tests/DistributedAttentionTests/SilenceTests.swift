import Testing

import MessagePassing

@Suite struct SilenceTests {
  @Test func onlyListeningCounts() throws {
    var silence = Silence(ranks: 3, longestStep: 1, now: 0)
    // A minute without listening, as behind a long computation or a stopped process, is one step.
    silence.looked(at: 60)
    #expect(silence.seconds == [1, 1, 1])
    silence.heard(1, count: 7)
    silence.looked(at: 60.5)
    #expect(silence.seconds == [1.5, 0.5, 1.5])
    let longest = try #require(Silence.longest(silence.seconds, but: 0))
    #expect(longest == (2, 1.5))
    #expect(Silence.longest([3], but: 0) == nil)
    // Alive, and where it was.
    silence.heard(1, count: 7)
    silence.looked(at: 61)
    #expect(silence.seconds == [2, 0.5, 2])
    #expect(silence.still == [2, 1, 2])
  }

  @Test func errorsNameRankAndFix() {
    let error = MessagePassingError.silent(rank: 3, seconds: 61.04, waiting: "gathering")
    #expect(
      "\(error)"
        == "rank 3 = silent for 61.0 s while gathering: a rank must answer within the time "
        + "limit; it has died, hangs or is stopped; see what became of it, or raise --time-limit")
  }
}
