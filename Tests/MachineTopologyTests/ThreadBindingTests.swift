import MachineTopology
import Testing

@Suite("--bind is read and written")
struct ThreadBindingTests {
  @Test(
    arguments: [
      ("none", .none, "none"),
      ("core:0-1", .cores([0, 1]), "core:0-1"),
      ("core:0,2", .cores([0, 2]), "core:0,2"),
      ("core:0,1,2,5-6", .cores([0, 1, 2, 5, 6]), "core:0-2,5-6"),
      ("core:3,1", .cores([3, 1]), "core:3,1"),
      ("core:1-2,0", .cores([1, 2, 0]), "core:1-2,0"),
      ("pu:0", .processingUnits([0]), "pu:0"),
      ("pu:65535", .processingUnits([65_535]), "pu:65535"),
      ("numa:0", .numaNodes([0]), "numa:0"),
    ] as [(String, ThreadBinding, String)])
  func `a binding is parsed and printed`(
    text: String, binding: ThreadBinding, printed: String
  ) throws {
    #expect(try ThreadBinding(parsing: text) == binding)
    #expect(binding.description == printed)
    #expect(try ThreadBinding(parsing: printed) == binding)
  }

  @Test(arguments: [
    ("", "a binding names core, pu, numa or none"),
    ("core", "a binding names core, pu, numa or none"),
    ("cores:0", "a binding names core, pu, numa or none"),
    ("NONE", "a binding names core, pu, numa or none"),
    ("core:", "the list of numbers is empty"),
    ("core:,", "'' is neither a number such as 0 nor a range such as 0-3"),
    ("core:0,", "'' is neither a number such as 0 nor a range such as 0-3"),
    ("core:x", "'x' is neither a number such as 0 nor a range such as 0-3"),
    ("core:-1", "'-1' is neither a number such as 0 nor a range such as 0-3"),
    ("core:1-", "'1-' is neither a number such as 0 nor a range such as 0-3"),
    ("core:+1", "'+1' is neither a number such as 0 nor a range such as 0-3"),
    ("core: 1", "' 1' is neither a number such as 0 nor a range such as 0-3"),
    ("core:0-1-2", "'0-1-2' is neither a number such as 0 nor a range such as 0-3"),
    ("core:0:1", "'0:1' is neither a number such as 0 nor a range such as 0-3"),
    ("core:3-0", "the range '3-0' runs backwards; write 0-3"),
    ("core:0,1,0", "0 is listed twice"),
    ("pu:0-2,1", "1 is listed twice"),
    ("pu:65536", "65536 is above the largest number, 65535"),
    ("numa:0-99999999999999999999", "99999999999999999999 is above the largest number, 65535"),
  ])
  func `what is no binding is an error that says why`(text: String, reason: String) {
    #expect(throws: TopologyError.malformedBinding(text: text, reason: reason)) {
      try ThreadBinding(parsing: text)
    }
  }

  @Test func `the message names the argument, the rule and the fix`() throws {
    let error = #expect(throws: TopologyError.self) { try ThreadBinding(parsing: "core:3-0") }
    #expect(
      error?.description
        == "--bind core:3-0: the range '3-0' runs backwards; write 0-3; "
        + "write core:0-1, core:0,2, pu:0, numa:0 or none")
  }
}
