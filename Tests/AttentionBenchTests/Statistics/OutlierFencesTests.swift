import AttentionBench
import Testing

@Suite struct OutlierFencesTests {
  private static func found(_ samples: [Double]) throws -> [Double] {
    let fences = OutlierFences(try #require(SampleSummary(samples)))
    return samples.filter(fences.exclude)
  }

  /// Quartiles 2 and 4, so the fences stand at -4 and 10.
  @Test(arguments: [(10.0, false), (10.001, true), (-4, false), (-4.001, true)])
  func fencesStandThreeRangesOutside(sample: Double, isOut: Bool) throws {
    let fences = OutlierFences(try #require(SampleSummary([1, 2, 3, 4, 5])))
    #expect(fences.lower == -4 && fences.upper == 10)
    #expect(fences.exclude(sample) == isOut)
  }

  @Test func fewerThanFiveSamplesHaveNone() throws {
    #expect(try Self.found([1, 1, 1, 1000]).isEmpty)
    #expect(try Self.found([1, 1, 1000]).isEmpty)
    #expect(try Self.found([1, 1000]).isEmpty)
    #expect(try Self.found([1]).isEmpty)
    #expect(try Self.found([1, 1, 1, 1, 1000]) == [1000])
  }

  @Test func bothSidesAreSeen() throws {
    let samples = (0..<20).map { 10 + Double($0) / 10 } + [100, -100]
    #expect(try Self.found(samples) == [100, -100])
  }

  @Test func theLabelMovesNoFigure() throws {
    let samples = [1.0, 2, 3, 4, 5, 1000]
    #expect(try Self.found(samples) == [1000])
    #expect(try #require(SampleSummary(samples)).median == 3.5)
  }
}
