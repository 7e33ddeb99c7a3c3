// What an integration engine does with HAPI FHIR's client: `java -cp JARS HapiSteps.java BASE TOKEN [xml]`.

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.api.SortSpec;
import ca.uhn.fhir.rest.api.SummaryEnum;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.client.interceptor.BearerTokenAuthInterceptor;
import ca.uhn.fhir.rest.server.exceptions.BaseServerResponseException;
import ca.uhn.fhir.rest.server.exceptions.PreconditionFailedException;
import ca.uhn.fhir.rest.server.exceptions.ResourceGoneException;
import ca.uhn.fhir.rest.server.exceptions.ResourceNotFoundException;
import ca.uhn.fhir.rest.server.exceptions.UnprocessableEntityException;
import java.math.BigDecimal;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import org.hl7.fhir.instance.model.api.IBaseOperationOutcome;
import org.hl7.fhir.r4.model.BooleanType;
import org.hl7.fhir.r4.model.Bundle;
import org.hl7.fhir.r4.model.CapabilityStatement;
import org.hl7.fhir.r4.model.CodeType;
import org.hl7.fhir.r4.model.Enumerations.AdministrativeGender;
import org.hl7.fhir.r4.model.IdType;
import org.hl7.fhir.r4.model.Observation;
import org.hl7.fhir.r4.model.OperationOutcome;
import org.hl7.fhir.r4.model.Parameters;
import org.hl7.fhir.r4.model.Patient;
import org.hl7.fhir.r4.model.Quantity;
import org.hl7.fhir.r4.model.Reference;
import org.hl7.fhir.r4.model.StringType;

public final class HapiSteps {
  private final IGenericClient client;
  private final String mark = UUID.randomUUID().toString();

  private HapiSteps(String base, String token, EncodingEnum encoding) {
    FhirContext context = FhirContext.forR4();
    context.getRestfulClientFactory().setSocketTimeout(120_000);
    client = context.newRestfulGenericClient(base);
    client.registerInterceptor(new BearerTokenAuthInterceptor(token));
    client.setEncoding(encoding);
  }

  public static void main(String[] words) {
    for (EncodingEnum encoding : List.of(EncodingEnum.JSON, EncodingEnum.XML)) {
      new HapiSteps(words[0], words[1], encoding).run(encoding.name().toLowerCase());
    }
  }

  private static void check(boolean holds, String what) {
    if (!holds) {
      throw new AssertionError(what);
    }
  }

  private static void same(Object wanted, Object found, String what) {
    check(wanted.equals(found), what + ": " + wanted + " wanted, " + found + " found");
  }

  private void run(String encoding) {
    metadata();
    IdType id = createAndRead();
    update(id);
    patch(id);
    history(id);
    transaction(id);
    search(id);
    operations(id);
    conditional();
    outcomes();
    delete(id);
    System.out.println(encoding);
  }

  private void metadata() {
    CapabilityStatement told = client.capabilities().ofType(CapabilityStatement.class).execute();
    same("4.0.1", told.getFhirVersion().toCode(), "version");
  }

  private IdType createAndRead() {
    Patient patient = new Patient();
    patient.addName().setFamily("陈").addGiven("静");
    patient.addIdentifier().setSystem("urn:mrn").setValue(mark);
    patient.getBirthDateElement().setValueAsString("1991-07");
    MethodOutcome made = client.create().resource(patient).execute();
    check(made.getCreated(), "created");
    same("1", made.getId().getVersionIdPart(), "first version");
    Patient read = client.read().resource(Patient.class).withId(made.getId().toUnqualifiedVersionless()).execute();
    same("1991-07", read.getBirthDateElement().getValueAsString(), "birth date");
    same("静", read.getNameFirstRep().getGivenAsSingleString(), "given name");
    return read.getIdElement().toUnqualifiedVersionless();
  }

  private void update(IdType id) {
    Patient read = client.read().resource(Patient.class).withId(id).execute();
    // HAPI sends the version that it knows as If-Match when asked to.
    read.setGender(AdministrativeGender.FEMALE);
    MethodOutcome done = client.update().resource(read).withAdditionalHeader("If-Match", "W/\"1\"").execute();
    same("2", done.getId().getVersionIdPart(), "second version");
    try {
      client.update().resource(read).withAdditionalHeader("If-Match", "W/\"1\"").execute();
      check(false, "a late update was stored");
    } catch (PreconditionFailedException expected) {
      check(expected.getOperationOutcome() != null, "outcome of a late update");
    }
  }

  private void patch(IdType id) {
    Parameters patch = new Parameters();
    Parameters.ParametersParameterComponent operation = patch.addParameter().setName("operation");
    operation.addPart().setName("type").setValue(new CodeType("replace"));
    operation.addPart().setName("path").setValue(new StringType("Patient.birthDate"));
    operation.addPart().setName("value").setValue(new org.hl7.fhir.r4.model.DateType("1991-07-04"));
    client.patch().withFhirPatch(patch).withId(id).execute();
    client.patch().withBody("[{\"op\":\"add\",\"path\":\"/active\",\"value\":true}]").withId(id).execute();
    Patient read = client.read().resource(Patient.class).withId(id).execute();
    same("1991-07-04", read.getBirthDateElement().getValueAsString(), "patched by FHIRPath");
    check(read.getActive(), "patched by JSON Patch");
  }

  private void history(IdType id) {
    Bundle found = client.history().onInstance(id).returnBundle(Bundle.class).execute();
    same(4, found.getEntry().size(), "versions");
    Patient first = client.read().resource(Patient.class).withId(id.withVersion("1")).execute();
    check(!first.hasGender(), "first version");
    same(1, client.history().onInstance(id).returnBundle(Bundle.class).count(1).execute().getEntry().size(), "a page");
  }

  private void transaction(IdType id) {
    Bundle bundle = new Bundle().setType(Bundle.BundleType.TRANSACTION);
    for (int number = 0; number < 17; number++) {
      Observation one = new Observation().setStatus(Observation.ObservationStatus.FINAL);
      one.getCode().addCoding().setSystem("http://loinc.org").setCode("8867-4");
      one.setSubject(new Reference(id)).setValue(new Quantity().setValue(new BigDecimal("60." + number + "0")).setSystem(
          "http://unitsofmeasure.org").setCode("/min"));
      bundle.addEntry().setFullUrl("urn:uuid:" + UUID.randomUUID()).setResource(one).getRequest().setMethod(
          Bundle.HTTPVerb.POST).setUrl("Observation");
    }
    Bundle told = client.transaction().withBundle(bundle).execute();
    for (Bundle.BundleEntryComponent row : told.getEntry()) {
      check(row.getResponse().getStatus().startsWith("201"), row.getResponse().getStatus());
    }
  }

  private void search(IdType id) {
    Bundle page = client.search().forResource(Observation.class).where(Observation.PATIENT.hasId(id)).and(
        Observation.CODE.exactly().systemAndCode("http://loinc.org", "8867-4")).sort(new SortSpec("_id")).count(5)
        .returnBundle(Bundle.class).execute();
    Set<String> ids = new HashSet<>();
    int pages = 1;
    for (;; pages++) {
      page.getEntry().forEach(row -> check(ids.add(row.getResource().getIdElement().getIdPart()), "a repeated match"));
      if (page.getLink(Bundle.LINK_NEXT) == null) {
        break;
      }
      page = client.loadPage().next(page).execute();
    }
    same(17, ids.size(), "matches");
    same(4, pages, "pages");
    Bundle whole = client.search().forResource(Observation.class).where(Observation.SUBJECT.hasChainedProperty(
        Patient.IDENTIFIER.exactly().systemAndCode("urn:mrn", mark))).include(Observation.INCLUDE_SUBJECT).count(100)
        .usingStyle(ca.uhn.fhir.rest.api.SearchStyleEnum.POST).returnBundle(Bundle.class).execute();
    same(18L, (long) whole.getEntry().size(), "matches and the patient");
    // 60.10 keeps its zero.
    check(whole.getEntry().stream().map(row -> row.getResource()).filter(Observation.class::isInstance).anyMatch(
        row -> ((Observation) row).getValueQuantity().getValueElement().getValueAsString().equals("60.10")), "digits");
    Bundle held = client.search().forResource(Patient.class).withIdAndCompartment(id.getIdPart(), "Observation").count(100)
        .usingStyle(ca.uhn.fhir.rest.api.SearchStyleEnum.POST).returnBundle(Bundle.class).execute();
    same(17L, (long) held.getEntry().size(), "observations of the compartment, asked for by POST");
    Bundle count = client.search().forResource(Observation.class).where(Observation.VALUE_QUANTITY.withPrefix(
        ca.uhn.fhir.rest.param.ParamPrefixEnum.GREATERTHAN_OR_EQUALS).number("60.5").andUnits(
        "http://unitsofmeasure.org", "/min")).and(Observation.PATIENT.hasId(id)).summaryMode(SummaryEnum.COUNT)
        .returnBundle(Bundle.class).execute();
    // 60.50, 60.60 … 60.90.
    same(5, count.getTotal(), "quantities");
  }

  private void operations(IdType id) {
    Bundle all = client.operation().onInstance(id).named("$everything").withNoParameters(Parameters.class)
        .useHttpGet().returnResourceType(Bundle.class).execute();
    check(all.getEntry().size() >= 18, "everything");
    Patient wrong = new Patient();
    wrong.addContact();
    MethodOutcome told = client.validate().resource(new Patient().setActive(true)).execute();
    check(told.getOperationOutcome() instanceof OperationOutcome, "outcome of a validation");
    same(mark, client.search().forResource(Patient.class).where(Patient.IDENTIFIER.exactly().identifier(mark))
        .elementsSubset("identifier").returnBundle(Bundle.class).execute().getEntry().size() == 1 ? mark : "", "elements");
  }

  private void conditional() {
    Patient patient = new Patient();
    patient.addIdentifier().setSystem("urn:mrn").setValue(mark);
    MethodOutcome found = client.create().resource(patient).conditional().where(
        Patient.IDENTIFIER.exactly().systemAndCode("urn:mrn", mark)).execute();
    check(!Boolean.TRUE.equals(found.getCreated()), "a second one was made");
    patient.setActive(false).addName().setText("x");
    MethodOutcome done = client.update().resource(patient).conditional().where(
        Patient.IDENTIFIER.exactly().systemAndCode("urn:mrn", mark)).execute();
    same("5", done.getId().getVersionIdPart(), "updated by its identifier");
  }

  private void outcomes() {
    try {
      // pat-1 of R4: a contact has details or an organisation.
      client.create().resource(new Patient().addContact(new Patient.ContactComponent().setGender(
          AdministrativeGender.MALE))).execute();
      check(false, "a contact of whom nothing is known was stored");
    } catch (UnprocessableEntityException expected) {
      IBaseOperationOutcome outcome = expected.getOperationOutcome();
      same("Patient.contact[0]", ((OperationOutcome) outcome).getIssueFirstRep().getExpression().get(0).getValue(), "place");
    }
    try {
      client.read().resource(Patient.class).withId("none").execute();
      check(false, "what is not there was read");
    } catch (ResourceNotFoundException expected) {
      check(expected.getOperationOutcome() != null, "outcome of what is not there");
    }
    try {
      client.search().byUrl("Patient?nonsense=1").withAdditionalHeader("Prefer", "handling=strict")
          .returnBundle(Bundle.class).execute();
      check(false, "an unknown parameter was taken");
    } catch (BaseServerResponseException expected) {
      same(400, expected.getStatusCode(), "status of an unknown parameter");
    }
  }

  private void delete(IdType id) {
    IdType other = (IdType) client.create().resource(new Patient().setActive(true)).execute().getId();
    client.delete().resourceById(other.toUnqualifiedVersionless()).execute();
    try {
      client.read().resource(Patient.class).withId(other.toUnqualifiedVersionless()).execute();
      check(false, "what was deleted was read");
    } catch (ResourceGoneException expected) {
      check(expected.getStatusCode() == 410, "status of what was deleted");
    }
    check(new BooleanType(true).getValue() && client.history().onInstance(other.toUnqualifiedVersionless()).returnBundle(
        Bundle.class).execute().getEntry().size() == 2, "history of what was deleted");
  }
}
