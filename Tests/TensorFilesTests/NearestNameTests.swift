import Suggestions
import TensorFiles
import Testing

@Suite struct NearestNameTests {
  static let names = ["exact", "flash", "window", "strided", "fixed", "linear"]

  @Test(arguments: [
    ("flsh", ["flash"]), ("lfash", ["flash"]), ("Flash", ["flash"]), ("windwo", ["window"]),
    ("stride", ["strided"]), ("lin", ["linear"]), ("attention", []), ("", []), ("x", []),
  ])
  func suggestsOneSlipAway(name: String, expected: [String]) {
    #expect(NearestName.suggestions(for: name, among: Self.names) == expected)
  }

  @Test func ordersByDistanceThenAsGiven() {
    let suggestions = NearestName.suggestions(
      for: "layer1", among: ["layer12", "player3", "layer0", "layer1"], limit: 3)
    #expect(suggestions == ["layer1", "layer12", "layer0"])
  }

  @Test func swappedNeighboursCostOne() {
    #expect(NearestName.suggestions(for: "ba", among: ["ab"]) == ["ab"])
    #expect(NearestName.suggestions(for: "abc", among: ["cba"]) == [])
  }
}
